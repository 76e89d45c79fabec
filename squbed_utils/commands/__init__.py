"""What the user asks for: each command's work, on the rooms of both sides."""
