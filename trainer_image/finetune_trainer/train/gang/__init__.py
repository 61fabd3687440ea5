"""What the processes of one gang owe each other: joining, deciding together, saying how they ended."""
