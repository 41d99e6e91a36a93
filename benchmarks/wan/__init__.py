"""An emulated wide-area link: packets, not bytes; and what runs over it."""
