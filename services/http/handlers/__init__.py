"""What each route does. A handler takes an `Exchange` and gives the answer; it raises Problem and StoreError."""
