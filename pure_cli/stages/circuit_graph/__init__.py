"""What `render --circuit` is made of: relevance followed through lower layers, what is left by ablation, figures."""
