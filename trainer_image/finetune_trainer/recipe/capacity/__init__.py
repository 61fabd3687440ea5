"""What a job needs of memory and storage, by arithmetic."""
