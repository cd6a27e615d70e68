    evaluated = {name: _keys(spec) for name, spec in job.benchmarks.items()}
    for name, spec in lists.items():
        own = set().union(*_keys(spec).values())
        for benchmark in job.measured.get(name, evaluated):
            others = evaluated[benchmark]
            common = [text for text, keys in others.items() if keys & own]
            if common:
                yield f"{name} and {benchmark}", len(others), common


def _keys(spec: PromptsSpec) -> dict[str, set[str]]:
    """The text of every prompt, once if it comes again, and what it is known by: its normalised
    text, and its meaning where its list says it."""
    found: dict[str, set[str]] = {}
    texts: dict[str, str] = {}
    for prompt in load_prompts(spec):
        text = texts.setdefault(normalised(prompt.text), prompt.text)
        meaning = {f"means {prompt.meaning}"} if prompt.meaning else set()
        found[text] = {normalised(prompt.text)} | meaning
    return found
