"""What benchmark is made of: what a method may look at, the methods that come with pure, how well each does."""
