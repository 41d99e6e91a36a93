"""Many data streams as one link: what is known of them, and how many there should be."""
