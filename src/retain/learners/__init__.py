"""What learns: one room for each family, which are strangers to one another."""
