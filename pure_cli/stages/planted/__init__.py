"""Virtual neurons against known answers: units that were made to have one, two or three meanings."""
