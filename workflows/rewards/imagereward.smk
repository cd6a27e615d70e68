# ImageReward. The hash of its checkpoint could not be confirmed: `python -m harness pin` asks for it;
# or add "#sha256=..." yourself, or name a local copy.
add_reward(
    "imagereward",
    target="hypernoise.rewards.imagereward:ImageReward",
    weights="hf://zai-org/ImageReward@5736be03b2652728fb87788c9797b0570450ab72/ImageReward.pt",
    vocabulary="hf://google-bert/bert-base-uncased@86b5e0934494bd15c9632b12f734a8a67f723594/vocab.txt"
    "#sha256=07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    version=1,
)
