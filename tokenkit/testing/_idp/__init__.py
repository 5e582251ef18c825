"""The parts of ``LocalIdP``: an authorization server and a protected API over real HTTP."""
