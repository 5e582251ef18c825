"""How storages keep all but one holder out: by a file, a lease in a cache, or among threads."""
