"""What the code of 7b9e8ab computed and wrote, kept so that no redesign changes it."""
