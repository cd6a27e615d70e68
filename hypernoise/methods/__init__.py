"""Ways of spending compute on better images, one file each."""
