"""Networks that learned nothing, measured as the network is: workspaces within the workspace."""
