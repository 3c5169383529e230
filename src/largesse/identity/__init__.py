"""Who people are: accounts with passwords, how old they must be, and sessions."""
