"""How fast is a link, beside what else one would take? Run by `dwcp link bench`."""
