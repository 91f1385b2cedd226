"""How a run starts and how it ends: fork, filter, exec; SIGKILL until nothing of it is left."""
