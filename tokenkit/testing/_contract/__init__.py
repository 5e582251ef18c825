"""The parts of the contract that every token storage is held to."""
