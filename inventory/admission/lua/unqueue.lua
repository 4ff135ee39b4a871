-- Part of a script: an order is not shown to its customer as queued any more. O(orders of the customer).
local function unqueue(key, customer, order)
  local lines = redis.call('HGET', key, customer)
  if not lines then return end
  local kept = {}
  for line in lines:gmatch('[^\n]+') do
    if not line:find(order, 1, true) then kept[#kept + 1] = line end
  end
  if #kept == 0 then
    redis.call('HDEL', key, customer)
  else
    redis.call('HSET', key, customer, table.concat(kept, '\n'))
  end
end
