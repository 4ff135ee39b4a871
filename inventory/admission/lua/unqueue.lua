-- Part of a script: an order is not shown to its customer as queued any more. O(orders of the customer).
-- A line is an order's by its id: source, seq and the rest of it are the customer's words.
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
