"""Forms of the K ways and of the masking, and what each is worth."""
