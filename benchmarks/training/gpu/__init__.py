"""Steps of the published recipe on a GPU, by the published script and by the trainer in its ways; without downloads."""
