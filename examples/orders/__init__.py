"""Order fulfilment: each order is a child workflow with four steps, and with what undoes them."""
