"""What the commands show, as pure functions over manifests, statuses and programs."""
