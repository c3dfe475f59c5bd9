"""The abstract base class of every room above: what each promises, in prose and types. One file a room."""
