"""Files that a reader of the library refuses, read again to say which, where and why."""
