export { RpcClient } from './rpc-client.ts'
export { RpcServer } from './rpc-server.ts'
