"""`dwcp demo`: three regions on one machine, audited."""
