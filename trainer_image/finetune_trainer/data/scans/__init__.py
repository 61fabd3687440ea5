"""Files of rows read one value at a time, to say what is wrong with one that the library could not read."""
