"""The only room that speaks HTTP as a client: to Replicate, and to users' webhooks."""
