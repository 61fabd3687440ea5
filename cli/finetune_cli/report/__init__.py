"""The report of a job, wherever it ran: what is known of it as one HTML file."""
