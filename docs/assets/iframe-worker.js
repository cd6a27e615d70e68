// Browsers start no worker from a file. The search of a site that is opened as files runs in a hidden
// frame instead, which Material for MkDocs takes for a worker where it finds the name IFrameWorker.
"use strict";

if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      const load = (source) =>
        new Promise((done, fail) => {
          const script = inside.document.createElement("script");
          Object.assign(script, { src: source, onload: done, onerror: fail });
          inside.document.body.append(script);
        });
      // What a worker's script finds: it answers with postMessage, and loads others.
      inside.postMessage = (data) => setTimeout(() => this.#tell(data));
      inside.importScripts = (...sources) =>
        sources.reduce((before, source) => before.then(() => load(source)), Promise.resolve());
      this.isLoaded = load(url);
    }

    postMessage(data) {
      const inside = this.frame.contentWindow;
      this.isLoaded.then(() => inside.dispatchEvent(new inside.MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }

    #tell(data) {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      this.onmessage?.(event);
    }
  };
  window.Worker = window.IFrameWorker;
}
