"""What is measured. Arrays in, numbers out; one file a subject, and `catalogue` says what each number means."""
