# HPSv3. Neither the hash of its checkpoint nor that of the file with its wording could be confirmed:
# `python -m harness pin` asks for both; or add "#sha256=..." yourself, or name local copies.
add_reward(
    "hpsv3",
    target="hypernoise.rewards.hpsv3:HPSv3",
    weights="hf://MizzenAI/HPSv3@4f81e3e09edd82fe3c5f636444c721b592a735ca/HPSv3.safetensors",
    wording="https://github.com/MizzenAI/HPSv3/raw/main/hpsv3/dataset/data_collator_qwen.py",
    model="Qwen/Qwen2-VL-7B-Instruct",
    revision="eed13092ef92e448dd6875b2a00151bd3f7db0ac",
    version=1,
)
