"""The judge: hostile programs in sandboxes that never see an expected output, and the attacks that show that it holds."""
