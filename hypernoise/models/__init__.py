"""Generators: stock diffusers pipelines behind one small protocol, one file per family."""
