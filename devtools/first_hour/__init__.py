"""first_hour: what a new user does in the first hour, done by a program, with what each command prints."""
