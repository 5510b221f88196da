"""What people see: tables, bars, leaderboards, cards, and the page."""
