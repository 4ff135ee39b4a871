-- Part of a script: removes an order from its customer's queued orders. O(orders of the customer).
-- Lines are matched by order id only, because the customer chooses source, seq and the other fields.
local function unqueue(key, customer, order)
  local lines = redis.call('HGET', key, customer)
  if not lines then return end
  local kept = {}
  for line in lines:gmatch('[^\n]+') do
    local is_read, fields = pcall(cjson.decode, line)
    if not is_read or type(fields) ~= 'table' or fields.id ~= order then kept[#kept + 1] = line end
  end
  if #kept == 0 then
    redis.call('HDEL', key, customer)
  else
    redis.call('HSET', key, customer, table.concat(kept, '\n'))
  end
end
