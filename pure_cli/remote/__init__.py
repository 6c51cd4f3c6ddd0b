"""What lies elsewhere and is reached by a URL: in a bucket, on a web server, on the hub of Hugging Face."""
