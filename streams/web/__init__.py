"""The node's HTTP face on Faust's web server: state in and out, status, metrics."""
