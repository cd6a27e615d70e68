# Prompt optimisation (MILS) by the paper's language model behind an OpenAI-compatible server.
add_method(
    "prompt_search_endpoint",
    target="hypernoise.methods.llm:endpoint_search",
    url="http://localhost:8000/v1",
    model="meta-llama/Llama-3.1-8B-Instruct",
    proposals=5,
    rounds=10,
    needs_reward=True,
    version=1,
)
