"""What guards the staff's pages: forms that know their version, actions that ask and happen once, who may do what."""
