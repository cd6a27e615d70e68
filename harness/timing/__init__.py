"""How long methods take, stage by stage."""
