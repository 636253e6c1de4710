"""Photos in, trained generators and pair sets out."""
