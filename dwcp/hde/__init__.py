"""How few bytes: streams of documents, and what every codec makes of them."""
