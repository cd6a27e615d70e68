"""Noise hypernetworks and their rivals: the method, without files, tables or workflows."""

from hypernoise.torchvision_repair import install

# The one thing that happens at import: diffusers and transformers import torchvision, which a
# CPU torch cannot load unrepaired.
install()
