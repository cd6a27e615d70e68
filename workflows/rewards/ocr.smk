# How near the text in an image is to the one in a prompt's double quotes, as in Flow-GRPO. No gradient: for
# searches and `noise_policy`. `pip install 'hypernoise[ocr]'`, which there is for Python up to 3.12.
add_reward("ocr", target="hypernoise.rewards.ocr:Ocr", version=1)
